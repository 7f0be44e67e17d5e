"""Networks, each as a stack of replicas."""
