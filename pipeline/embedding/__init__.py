"""The embedding methods, and the rounds that compute them over all parts."""
