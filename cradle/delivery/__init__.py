"""What goes to a customer between two images: the delta that turns the one into the other."""
