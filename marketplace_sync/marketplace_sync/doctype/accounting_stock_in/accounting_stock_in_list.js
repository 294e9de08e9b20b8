frappe.listview_settings["Accounting Stock In"] = {
	add_fields: ["state"],
	hide_name_column: true,
	colour: (state) =>
		({ Preview: "orange", Booked: "green", "Nothing to do": "green", Failed: "red", Reading: "blue" }[state] || "gray"),
	get_indicator(doc) {
		return [__(doc.state), this.colour(doc.state), `state,=,${doc.state}`];
	},
};
