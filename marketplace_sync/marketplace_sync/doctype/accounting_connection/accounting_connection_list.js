frappe.listview_settings["Accounting Connection"] = {
	add_fields: ["send_invoices", "database_id"],
	hide_name_column: true,
	// Connection -> its status, told by the server: what stopped it is not in its own row.
	statuses: {},
	get_indicator(doc) {
		const filter = `send_invoices,=,${cint(doc.send_invoices)}`;
		if (!doc.database_id) return [__("Not Connected"), "red", "database_id,is,not set"];
		const one = this.statuses[doc.name];
		if (one && !one.connected) return [__("Not Connected"), "red", filter];
		if (one && one.stopped) return [__("Stopped"), "red", filter];
		if (one && one.attention) return [__("Needs Attention"), "orange", filter];
		if (!cint(doc.send_invoices)) return [__("Not Sending"), "gray", filter];
		return [__("Sending Invoices"), "green", filter];
	},
	refresh(list) {
		if (!list.data.length) return;
		frappe.xcall("marketplace_sync.accounting_api.statuses").then((all) => {
			this.statuses = Object.fromEntries(all.map((one) => [one.name, one]));
			list.render();
		});
	},
};
