"""Training: pictures to batches (`data`), batches to float weights (`loop`), those to exact integers (`freeze`)."""
