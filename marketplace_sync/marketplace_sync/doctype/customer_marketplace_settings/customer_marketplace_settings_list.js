frappe.listview_settings["Customer Marketplace Settings"] = {
	add_fields: ["disable_stock_update"],
	hide_name_column: true,
	// Store -> its status, told by the server: whether a store is connected is not in its own row.
	stores: {},
	get_indicator(doc) {
		if (cint(doc.disable_stock_update)) return [__("Disabled"), "gray", "disable_stock_update,=,1"];
		const filter = "disable_stock_update,=,0";
		const one = this.stores[doc.name];
		if (!one) return [__("Enabled"), "gray", filter];
		if (!one.connected) return [__("Not Connected"), "red", filter];
		if (one.circuit_open) return [__("Stopped"), "red", filter];
		if (one.orders_error) return [__("Orders Not Read"), "orange", filter];
		return [__("Updating Stock"), "green", filter];
	},
	refresh(list) {
		if (!list.data.some((doc) => !cint(doc.disable_stock_update))) return;
		frappe.xcall("marketplace_sync.api.store_status").then((all) => {
			this.stores = Object.fromEntries(all.map((one) => [one.store, one]));
			list.render();
		});
	},
};
