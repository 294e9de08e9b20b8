frappe.listview_settings["Marketplace Payout"] = {
	add_fields: ["state", "journal_entry", "currency", "told_later", "told_later_checked"],
	hide_name_column: true,
	// A statement is of a day; with the time it would be cut.
	formatters: {
		paid_at: (value) =>
			value ? frappe.datetime.convert_to_user_tz(value, false).format(frappe.datetime.get_user_date_fmt().toUpperCase()) : "",
	},
	get_indicator(doc) {
		if (doc.told_later && !doc.told_later_checked) return [__("Told Otherwise"), "orange", "told_later,is,set|told_later_checked,=,0"];
		const colour = { Posted: "green", "Left Out": "gray", "Needs Attention": "orange" }[doc.state] || "blue";
		return [__(doc.state), colour, `state,=,${doc.state}`];
	},
	onload(list) {
		if (!["Accounts Manager", "Marketplace Manager"].some((role) => frappe.user.has_role(role))) return;
		const controller = "marketplace_sync.marketplace_sync.doctype.marketplace_payout.marketplace_payout.";
		const store = {
			fieldname: "store",
			fieldtype: "Link",
			options: "Customer Marketplace Settings",
			label: __("Store"),
			reqd: 1,
		};
		list.page.add_inner_button(__("Import CSV"), () =>
			frappe.prompt(
				[
					store,
					{
						fieldname: "file_url",
						fieldtype: "Attach",
						label: __("CSV File"),
						description: __("Which column means what is on the store: Columns of a Payout File."),
						options: { restrictions: { allowed_file_types: [".csv"] } },
						reqd: 1,
					},
				],
				(values) =>
					frappe.xcall(controller + "import_csv", values).then((answer) => {
						frappe.msgprint({
							title: __("Payouts"),
							indicator: answer.attention ? "orange" : "green",
							message: __("Statements: {0}. Posted {1}, needing attention {2}, there already {3}.", [
								answer.seen,
								answer.posted,
								answer.attention,
								answer.known,
							]),
						});
						list.refresh();
					}),
				__("Import a Payout File"),
				__("Import")
			)
		);
		list.page.add_inner_button(__("Fetch Payouts"), () =>
			frappe.prompt(
				[
					{
						...store,
						description: __("Shopee's payouts of a day come once the day is over: today's come tomorrow."),
					},
				],
				(values) =>
					frappe.xcall(controller + "fetch", values).then(() =>
						frappe.show_alert({ message: __("The statements are fetched by a worker."), indicator: "green" })
					),
				__("Fetch Payouts"),
				__("Fetch")
			)
		);
	},
};
