frappe.ui.form.on("Accounting Document", {
	refresh(frm) {
		const doc = frm.doc;
		const settings = frappe.listview_settings["Accounting Document"];
		frm.disable_save();
		frm.page.set_indicator(__(doc.state), settings.colour(doc.state));
		// Said at the top.
		frm.toggle_display("reason", false);
		frm.layout.show_message("");
		const told = [doc.reason, doc.note].filter(Boolean).map((text) => frappe.utils.escape_html(text));
		if (doc.due_at > 0 && doc.attempts) told.push(__("Tried again by itself at {0}", [marketplace_sync.time(doc.due_at)]));
		if (told.length) frm.layout.show_message(told.join("<br>"), doc.state === "Needs Attention" ? "orange" : "blue");
		const open = (doctype, name) => () => frappe.set_route("Form", doctype, name);
		frm.add_custom_button(__("Connection"), open("Accounting Connection", doc.connection), __("View", null, "Accounting Connection"));
		if (doc.source) frm.add_custom_button(__("Document"), open(doc.source_doctype, doc.source), __("View", null, "Accounting Connection"));
		if (doc.marketplace_order)
			frm.add_custom_button(__("Marketplace Order"), open("Marketplace Order", doc.marketplace_order), __("View", null, "Accounting Connection"));
		if (!frappe.model.can_write("Accounting Connection")) return;
		const reload = () => frm.reload_doc();
		if (["Needs Attention", "By Hand", "Waiting"].includes(doc.state))
			frm.add_custom_button(__("Replay"), () => settings.replay([doc.name]).then(reload));
		if (doc.state === "Needs Attention")
			frm.add_custom_button(__("Settled by Hand"), () => settings.settle([doc.name], reload));
	},
});
