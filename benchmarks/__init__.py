"""Speed of the suite: paired timings against a plain implementation, throughput, and growth of cost."""
