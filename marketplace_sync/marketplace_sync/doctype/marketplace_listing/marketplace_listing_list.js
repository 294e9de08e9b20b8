frappe.listview_settings["Marketplace Listing"] = {
	add_fields: ["store", "item", "hold", "desired_ver", "acked_ver", "acked_qty"],
	hide_name_column: true,
	// Stores with Disable Stock Update: what waits there is not on its way.
	disabled_stores: new Set(),
	get_indicator(doc) {
		// The same words as the engine's listing_state.
		if (!doc.item) return [__("Unmapped"), "yellow", "item,is,not set"];
		if (cint(doc.desired_ver) > 0 && cint(doc.acked_ver) >= cint(doc.desired_ver))
			return [__("Synced"), "green", "priority,=,0"];
		if (!doc.hold || doc.hold === "In Flight")
			return this.disabled_stores.has(doc.store)
				? [__("Disabled"), "gray", `store,=,${doc.store}`]
				: [__("Pending"), "blue", "priority,>,0"];
		const colour = { Disabled: "gray", Rejected: "red" }[doc.hold] || "orange";
		return [__(doc.hold), colour, `hold,=,${doc.hold}`];
	},
	refresh(list) {
		frappe.db
			.get_list("Customer Marketplace Settings", { filters: { disable_stock_update: 1 }, pluck: "name", limit: 0 })
			.then((names) => {
				const before = this.disabled_stores;
				this.disabled_stores = new Set(names);
				if (before.size !== names.length || names.some((name) => !before.has(name))) list.render();
			});
	},
	formatters: {
		acked_qty: (value) => (cint(value) < 0 ? "–" : cint(value)),
	},
};
