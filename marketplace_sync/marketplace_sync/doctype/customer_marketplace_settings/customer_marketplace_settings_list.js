frappe.listview_settings["Customer Marketplace Settings"] = {
	add_fields: ["disable_stock_update"],
	hide_name_column: true,
	get_indicator(doc) {
		return cint(doc.disable_stock_update)
			? [__("Disabled"), "gray", "disable_stock_update,=,1"]
			: [__("Updating Stock"), "green", "disable_stock_update,=,0"];
	},
};
