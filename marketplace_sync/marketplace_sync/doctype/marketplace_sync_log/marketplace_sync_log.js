frappe.ui.form.on("Marketplace Sync Log", {
	refresh(frm) {
		const esc = frappe.utils.escape_html;
		let lines = [];
		try {
			lines = JSON.parse(frm.doc.lines || "[]");
		} catch {
			return;
		}
		const rows = lines.map((line) => [
			esc(line.sku),
			line.item ? `<a href="/app/item/${encodeURIComponent(line.item)}">${esc(line.item)}</a>` : "",
			marketplace_sync.quantity(line.before),
			marketplace_sync.quantity(line.after),
			esc(line.outcome),
			esc(line.message),
			esc(line.cause),
		]);
		frm.fields_dict.lines_html.$wrapper.html(
			`<p>${marketplace_sync.time(frm.doc.at)}</p>` +
				marketplace_sync.table(
					[
						__("Seller SKU"),
						__("Item"),
						__("Before"),
						__("After"),
						__("Outcome"),
						__("Message"),
						__("Cause"),
					],
					rows
				)
		);
	},
});
