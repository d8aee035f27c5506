"""What each published table is made of, and what it says of itself."""
