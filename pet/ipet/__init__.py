"""iPET: the schedule of the generations and the selection of their texts. Arrays in, arrays out."""
