"""Tables, the HTML report and model cards."""
