frappe.listview_settings["Marketplace Order"] = {
	add_fields: ["store", "state", "status", "currency"],
	hide_name_column: true,
	// Not told yet is no zero.
	formatters: {
		total: (value, df, doc) =>
			flt(value) || doc.state === "Up to Date" ? frappe.form.formatters.Currency(value, df, null, doc) : "",
	},
	get_indicator(doc) {
		// What is up to date tells how far it is.
		const label = doc.state === "Up to Date" && doc.status ? doc.status : doc.state;
		return [marketplace_sync.order_status(label), marketplace_sync.order_colour(doc.state), `state,=,${doc.state}`];
	},
	onload(list) {
		list.page.add_actions_menu_item(__("Retry"), () => {
			const orders = list.get_checked_items(true);
			frappe.xcall("marketplace_sync.api.retry_orders", { orders }).then((answer) => {
				frappe.show_alert({
					message: __("{0} orders are booked again.", [cint(answer.orders)]),
					indicator: "green",
				});
				list.clear_checked_items();
				list.refresh();
			});
		});
	},
};
