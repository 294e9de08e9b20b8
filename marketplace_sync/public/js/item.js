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
