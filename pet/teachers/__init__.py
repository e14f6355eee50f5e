"""Teachers: language models on a server that label texts, through the chat API that OpenAI introduced."""
