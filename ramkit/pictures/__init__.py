"""Charts, heat maps and the page of a report: what models know, drawn for people."""
