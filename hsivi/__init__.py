"""HSIVI-Bench: hierarchical semi-implicit variational inference and its rivals, measured.

Notation, the same everywhere: ``t`` is the paper's layer index (x_T is the prior, x_0 the output, layer t maps x_{t+1}
to x_t and matches p_t; NFE = T), ``s`` is diffusion time, ``alpha_bar`` is the paper's alpha, a variance, and
``sigma = sqrt(1 - alpha_bar)``.
"""
