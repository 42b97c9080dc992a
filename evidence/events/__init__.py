"""What happens beside a retrofit: found on residuals, recorded by people, quantified, shown with and without."""
