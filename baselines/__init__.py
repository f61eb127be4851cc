"""What a detector must beat: `reference` (length, formatting, n-grams), Naive Bayes and BiLSTM, fitted, saved, scored."""
