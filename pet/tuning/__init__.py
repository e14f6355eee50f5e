"""Which numbers a member trains, when it is not all of them: one file a method, and `members` that uses them."""
