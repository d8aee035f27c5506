"""The embedding methods, and the rounds that carry them across parts."""
