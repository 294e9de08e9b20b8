frappe.ui.form.on("Marketplace Listing", {
	setup(frm) {
		frm.set_query("item", () => ({ filters: { has_variants: 0 } }));
	},

	refresh(frm) {
		if (frm.is_new()) return;
		const doc = frm.doc;
		const state = marketplace_sync.listing_state(doc);
		const show = (word) => frm.page.set_indicator(marketplace_sync.states()[word], marketplace_sync.colour(word));
		show(state);
		if (state === "pending") {
			frappe.db
				.get_value("Customer Marketplace Settings", doc.store, "disable_stock_update")
				.then(({ message }) => cint(message.disable_stock_update) && show("disabled"));
		}
		if (doc.item) {
			frm.add_custom_button(__("Why not in sync?"), () => marketplace_sync.show_why(doc.item, doc.store));
			frm.add_custom_button(__("Sync Now"), () => marketplace_sync.sync_now({ item: doc.item, store: doc.store }));
			if (frm.perm[0].write) {
				frm.add_custom_button(__("Let the SKU Decide"), () =>
					frappe.xcall("marketplace_sync.api.map_listing", { listing: doc.name }).then(() => frm.reload_doc())
				);
			}
		}
		const esc = frappe.utils.escape_html;
		const rows = [
			[__("Acknowledged"), `${marketplace_sync.quantity(doc.acked_qty)} (${marketplace_sync.time(doc.acked_at)})`],
			[__("Read Back"), `${marketplace_sync.quantity(doc.remote_qty)} (${marketplace_sync.time(doc.remote_at)})`],
			[__("Seen in the Catalogue"), marketplace_sync.time(doc.seen_at)],
		];
		if (state !== "synced") {
			rows.push([__("Reason"), esc(doc.reason || "") || "–"]);
			if (doc.dirty_at) rows.push([__("Changed"), `${marketplace_sync.time(doc.dirty_at)} ${esc(doc.cause || "")}`]);
			if (doc.hold && doc.due_at) rows.push([__("Tried again"), marketplace_sync.time(doc.due_at)]);
		}
		frm.fields_dict.state_html.$wrapper.html(marketplace_sync.table(null, rows));
	},
});
