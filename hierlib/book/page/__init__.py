"""What a chapter calls: set-up and style, what is put on the page, what is recorded, the stamp."""
