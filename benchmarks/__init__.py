"""One script a question, each printing a table with its peers measured in the same run."""
