"""Ask people about documents and battles: on a local web page, in a terminal, or from a file."""
