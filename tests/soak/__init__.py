"""Everything at once, at random from a seed: two real daemons, a simulated Okta, an operator, and all kinds of trouble.

    python -m tests.soak --minutes 10 --seed 1 --database sqlite

For most of a minute people move in Okta, pushes and events come, sweeps run, the operator decides, and troubles overlap
(``soak.troubles``). Then all trouble ends, and what must hold is looked at (``soak.truth``). At the end the operator lets
everything through, and one good sweep brings both sides in step. The seed repeats the choices, not the moments.
"""
