frappe.ui.form.on("Customer", {
	refresh(frm) {
		const field = frm.fields_dict.marketplace_state;
		if (!field || frm.is_new()) return;
		const shown = frm.doc.__onload || {};
		const esc = frappe.utils.escape_html;
		if (!shown.marketplace_store) {
			const create = frappe.model.can_create("Customer Marketplace Settings")
				? `<button class="btn btn-default btn-sm">${__("Make This Customer a Store")}</button>`
				: "";
			field.$wrapper.html(`<p class="text-muted">${__("This customer is no store on a marketplace.")}</p>${create}`);
			field.$wrapper.find("button").on("click", () =>
				frappe.model.with_doctype("Customer Marketplace Settings", () => {
					// Not frappe.new_doc with a value: it leaves out fields that a duplicate does not take over.
					const doc = frappe.model.get_new_doc("Customer Marketplace Settings");
					doc.customer = frm.doc.name;
					frappe.set_route("Form", doc.doctype, doc.name);
				})
			);
			return;
		}
		const route = `/app/customer-marketplace-settings/${encodeURIComponent(shown.marketplace_store)}`;
		const by = shown.marketplace_by
			? `<p class="text-muted">${__("Last set by {0} on {1}", [
					esc(shown.marketplace_by),
					esc(frappe.datetime.str_to_user(shown.marketplace_at)),
			  ])}</p>`
			: "";
		field.$wrapper.html(`<p>${esc(shown.marketplace)} · <a href="${route}">${__("Settings of this store")}</a></p>${by}`);
		for (const name of ["marketplace_disable_stock_update", "marketplace_disabled_reason"]) {
			// Frappe shows a virtual field read-only; the server saves these two in the store's settings.
			frm.set_df_property(name, "is_virtual", shown.marketplace_may_write ? 0 : 1);
		}
	},
});
