frappe.query_reports["Payout Differences"] = {
	filters: [
		{ fieldname: "store", label: __("Store"), fieldtype: "Link", options: "Customer Marketplace Settings" },
		{
			fieldname: "from_date",
			label: __("From Date"),
			fieldtype: "Date",
			default: frappe.datetime.add_months(frappe.datetime.get_today(), -3),
			reqd: 1,
		},
		{
			fieldname: "to_date",
			label: __("To Date"),
			fieldtype: "Date",
			default: frappe.datetime.get_today(),
			reqd: 1,
		},
	],

	formatter(value, row, column, data, default_formatter) {
		// A row about a whole statement has no amounts: an empty cell is not a zero.
		if (["gross", "held", "difference"].includes(column.fieldname) && (value === null || value === undefined)) return "";
		// By the marketplace's own id, without the store that stands beside it.
		if (column.fieldname === "payout" && data && data.settlement_id)
			return `<a href="${frappe.utils.get_form_link("Marketplace Payout", value)}">${frappe.utils.escape_html(
				data.settlement_id
			)}</a>`;
		return default_formatter(value, row, column, data);
	},
};
