"""Ways to disguise a text, and to make texts harder to learn from: `mvh.attacks.suite` has the table of all of them."""
