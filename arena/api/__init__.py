"""The functions of `import arena`: a notebook's whole job, over what the commands use."""
