frappe.ui.form.on("Item", {
	refresh(frm) {
		const grid = frm.fields_dict.marketplace_details && frm.fields_dict.marketplace_details.grid;
		if (grid) {
			grid.cannot_add_rows = true;
			grid.df.cannot_delete_rows = true;
			grid.df.cannot_delete_all_rows = true;
			grid.refresh();
		}
		if (frm.is_new() || !frappe.model.can_read("Marketplace Listing")) return;
		if (frappe.model.can_read("Marketplace Order")) show_held(frm);
		frm.add_custom_button(
			__("Sync Now"),
			() => marketplace_sync.sync_now({ item: frm.doc.name }),
			__("Marketplaces")
		);
		frm.add_custom_button(
			__("Why not in sync?"),
			() => marketplace_sync.show_why(frm.doc.name),
			__("Marketplaces")
		);
		frm.add_custom_button(
			__("Item Summary"),
			() => frappe.set_route("query-report", "Item Summary", { item: frm.doc.name }),
			__("Marketplaces")
		);
	},
});

function show_held(frm) {
	const item = frm.doc.name;
	frappe.xcall("marketplace_sync.api.held_by", { item }).then(({ held, orders }) => {
		if (!orders.length || frm.doc.name !== item) return;
		const label = held
			? __("Held by marketplace orders: {0}", [format_number(held, null, Number.isInteger(held) ? 0 : 3)])
			: __("Its components are held by marketplace orders");
		frm.layout.wrapper.find(".marketplace-held").closest(".form-message").remove(); // of an earlier refresh
		frm.set_intro(`${label} <a class="marketplace-held">${__("By which?")}</a>`, "blue");
		frm.layout.wrapper.find(".marketplace-held").on("click", () => marketplace_sync.show_held(item));
	});
}
