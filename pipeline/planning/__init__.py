"""What a run takes: sizes, costs, times, and the choices that follow from them."""
