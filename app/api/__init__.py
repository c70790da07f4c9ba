"""The JSON API: parse, authorise, call one service, render. No rule of the product lives here."""
