frappe.listview_settings["Accounting Stock In"] = {
	add_fields: ["state", "began_at"],
	hide_name_column: true,
	// Its name says nothing: the moment does.
	formatters: {
		name: (name, df, doc) => (doc ? frappe.datetime.str_to_user(doc.began_at) : name),
	},
	colour: (state) =>
		({ Preview: "orange", Booked: "green", "Nothing to do": "green", Failed: "red", Reading: "blue" }[state] || "gray"),
	get_indicator(doc) {
		return [__(doc.state, null, "Accounting Stock In"), this.colour(doc.state), `state,=,${doc.state}`];
	},
};
