"""The controller's verbs over a registry contract."""
