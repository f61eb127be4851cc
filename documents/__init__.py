"""Files of many kinds -> the text a detector is to judge, with page numbers and an account of what was read."""
