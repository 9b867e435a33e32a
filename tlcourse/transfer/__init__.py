"""Transfer methods: one module per chapter."""
