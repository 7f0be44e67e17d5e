"""What a run takes: jobs and their sizes, estimates from measured rates, plans for people and limits for clusters."""
