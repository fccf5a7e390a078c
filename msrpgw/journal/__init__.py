"""Where messages in our custody survive a crash (IJournal), and a command to look at them."""
