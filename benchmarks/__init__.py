"""Ours against transformers, side by side on this machine: `make bench`. Not part of the installed package.

`sides` holds one set of weights in both libraries, `work` what is timed, `pairs` and `memory` how, `machine` the limits
that both stand against, `half` what bfloat16 gives; `parts` puts them together, `table` writes what came out.
"""
