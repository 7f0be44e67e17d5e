"""One file is one method.  Files are found by their path; see CONTRIBUTING for the contract."""
