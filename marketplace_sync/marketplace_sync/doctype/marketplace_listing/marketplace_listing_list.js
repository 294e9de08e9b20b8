frappe.listview_settings["Marketplace Listing"] = {
	add_fields: ["item", "hold", "desired_ver", "acked_ver", "acked_qty"],
	hide_name_column: true,
	get_indicator(doc) {
		// The same words as the engine's listing_state.
		if (!doc.item) return [__("Unmapped"), "yellow", "item,is,not set"];
		if (cint(doc.desired_ver) > 0 && cint(doc.acked_ver) >= cint(doc.desired_ver))
			return [__("Synced"), "green", "priority,=,0"];
		if (!doc.hold || doc.hold === "In Flight") return [__("Pending"), "blue", "priority,>,0"];
		const colour = { Disabled: "gray", Rejected: "red" }[doc.hold] || "orange";
		return [__(doc.hold), colour, `hold,=,${doc.hold}`];
	},
	formatters: {
		acked_qty: (value) => (cint(value) < 0 ? "–" : cint(value)),
	},
};
