frappe.listview_settings["Accounting Document"] = {
	add_fields: ["state", "source_doctype", "wanted"],
	hide_name_column: true,
	colour: (state) =>
		({ Waiting: "blue", Sent: "green", Deleted: "gray", "Needs Attention": "orange", "By Hand": "purple" }[state] ||
		"gray"),
	get_indicator(doc) {
		return [__(doc.state), this.colour(doc.state), `state,=,${doc.state}`];
	},
	replay(names) {
		return frappe.xcall("marketplace_sync.accounting_api.replay", { names }).then((answer) =>
			frappe.show_alert({
				message: answer.left
					? __("{0} documents are tried again, {1} need nothing or are being sent just now.", [
							answer.documents,
							answer.left,
					  ])
					: __("{0} documents are tried again.", [answer.documents]),
				indicator: answer.documents ? "green" : "orange",
			})
		);
	},
	settle(names, then) {
		frappe.confirm(
			__("You have put {0} documents right in the service yourself: they are left alone from now on. Go on?", [
				names.length,
			]),
			() =>
				frappe
					.xcall("marketplace_sync.accounting_api.settle_by_hand", { names })
					.then((answer) => {
						frappe.show_alert({
							message: answer.left
								? __("{0} documents are settled, {1} did not need it.", [answer.documents, answer.left])
								: __("{0} documents are settled.", [answer.documents]),
							indicator: answer.documents ? "green" : "orange",
						});
					})
					.then(then)
		);
	},
	onload(list) {
		if (!frappe.model.can_write("Accounting Connection")) return;
		const done = () => {
			list.clear_checked_items();
			list.refresh();
		};
		list.page.add_actions_menu_item(__("Replay"), () => this.replay(list.get_checked_items(true)).then(done));
		list.page.add_actions_menu_item(__("Settled by Hand"), () => this.settle(list.get_checked_items(true), done));
	},
};
