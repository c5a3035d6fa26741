"""What a probe makes of a heart: planes, views, grey levels, colour and Doppler."""
