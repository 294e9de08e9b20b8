frappe.ui.form.on("Marketplace Payout", {
	refresh(frm) {
		frm.disable_save();
		const doc = frm.doc;
		frm.page.set_indicator(__(doc.state), { Posted: "green", "Left Out": "gray", "Needs Attention": "orange" }[doc.state] || "blue");
		if (doc.state !== "Posted" && doc.state !== "Left Out") show_problems(frm);
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
		if (doc.follows && !doc.journal_entry && !["Posted", "Left Out"].includes(doc.state) && may)
			frm.add_custom_button(__("Leave Out"), () =>
				frappe.confirm(__("Was this posted before, with {0}? Then it is left out, and never posted by itself.", [
					frappe.utils.escape_html(doc.follows),
				]), () =>
					frappe
						.xcall(
							"marketplace_sync.marketplace_sync.doctype.marketplace_payout.marketplace_payout.leave_out",
							{ payout: doc.name }
						)
						.then(() => frm.reload_doc())
				)
			);
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

// What is wrong and what to do, in full: the table has room for the amounts only.
const PROBLEMS_SHOWN = 20;

function show_problems(frm) {
	const esc = (value) => frappe.utils.escape_html(String(value ?? ""));
	const lines = (frm.doc.lines || []).filter((line) => line.problem);
	if (!lines.length) return;
	const rows = lines.slice(0, PROBLEMS_SHOWN).map((line) => {
		const link = line.marketplace_order && frappe.utils.get_form_link("Marketplace Order", line.marketplace_order);
		const order = link ? `<a href="${esc(link)}">${esc(line.order_id)}</a>` : esc(line.order_id);
		return `<li>${__("Row {0}", [cint(line.idx)])}${order ? ` (${order})` : ""}: ${esc(line.problem)}</li>`;
	});
	if (lines.length > PROBLEMS_SHOWN)
		rows.push(`<li>${__("… and {0} more", [lines.length - PROBLEMS_SHOWN])}</li>`);
	frm.set_intro(`<ul class="mb-0 pl-4 pr-4">${rows.join("")}</ul>`, "orange");
}
