frappe.listview_settings["Marketplace Order"] = {
	add_fields: ["store", "state", "currency"],
	hide_name_column: true,
	get_indicator(doc) {
		return [__(doc.state), marketplace_sync.order_colour(doc.state), `state,=,${doc.state}`];
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
