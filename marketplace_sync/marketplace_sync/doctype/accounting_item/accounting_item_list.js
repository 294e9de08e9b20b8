frappe.listview_settings["Accounting Item"] = {
	add_fields: ["state"],
	hide_name_column: true,
	get_indicator(doc) {
		const colour = { Linked: "green", New: "blue", Sending: "orange", Conflict: "red" }[doc.state] || "gray";
		return [__(doc.state, null, "Accounting Item"), colour, `state,=,${doc.state}`];
	},
};
