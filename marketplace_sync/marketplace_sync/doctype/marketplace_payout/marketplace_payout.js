frappe.ui.form.on("Marketplace Payout", {
	refresh(frm) {
		frm.disable_save();
		const doc = frm.doc;
		frm.page.set_indicator(__(doc.state), { Posted: "green", "Needs Attention": "orange" }[doc.state] || "blue");
		const post = (anyway) =>
			frappe
				.xcall("marketplace_sync.marketplace_sync.doctype.marketplace_payout.marketplace_payout.post", {
					payout: doc.name,
					anyway,
				})
				.then((answer) => {
					if (answer.state === "Posted")
						frappe.show_alert({ message: __("Posted: {0}", [answer.journal_entry || ""]), indicator: "green" });
					else
						frappe.msgprint({
							title: __("Not posted"),
							indicator: "orange",
							message: frappe.utils.escape_html(answer.reason || ""),
						});
					frm.reload_doc();
				});
		const may = ["Accounts Manager", "Marketplace Manager"].some((role) => frappe.user.has_role(role));
		if (doc.state !== "Posted" && may) {
			// What was posted and cancelled is posted again by this click only.
			frm.add_custom_button(doc.journal_entry ? __("Post Again") : __("Check Again"), () =>
				doc.journal_entry
					? frappe.confirm(
							__("Its Journal Entry {0} was cancelled. Post the payout again?", [
								frappe.utils.escape_html(doc.journal_entry),
							]),
							() => post(0)
					  )
					: post(0)
			);
			if (doc.follows || doc.lines.some((line) => line.problem))
				frm.add_custom_button(__("Post Anyway"), () =>
					frappe.confirm(
						__(
							"What differs ({0}) stays open in the clearing account and in the report Payout Differences. Post the payout?",
							[format_currency(doc.difference, doc.currency)]
						),
						() => post(1)
					)
				);
		}
		if (doc.told_later && !doc.told_later_checked) {
			frm.page.set_indicator(__("Told Otherwise"), "orange");
			if (may)
				frm.add_custom_button(__("Mark as Checked"), () =>
					frappe
						.xcall(
							"marketplace_sync.marketplace_sync.doctype.marketplace_payout.marketplace_payout.mark_checked",
							{ payout: doc.name }
						)
						.then(() => frm.reload_doc())
				);
		}
		frm.add_custom_button(__("Payout Differences"), () =>
			frappe.set_route("query-report", "Payout Differences", { store: doc.store })
		);
	},
});
