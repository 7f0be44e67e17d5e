"""One script is one table, figure or page.  Scripts are found by their path; none of them needs torch."""
